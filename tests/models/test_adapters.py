"""Models of other libraries, built and saved by the libraries themselves, and models as people write them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from vaepipe.models import external
from vaepipe.models.adapter import ADAPTERS, find_adapter, split_entry
from vaepipe.models.checkpoint_file import read_checkpoint
from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.plain import Plain
from vaepipe.storage.errors import DataError
from vaepipe.study.settings import ExternalOptions


def seeded(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bring(name, path, shape, d_z):
    """The model behind this package's interface, as `adopt` builds it."""
    adapter = find_adapter(name)
    file, key = adapter.weights(path)
    options = {"weights": str(file), "dataset": "x", "shape": shape, "range": adapter.range}
    settings = ExternalOptions(entry=f"{name}:{path}", d_z=d_z, **options)
    return external.build(settings, read_checkpoint(file, key), shape)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """name → (folder in the hub's layout, the model): small autoencoders of diffusers, random weights."""
    import diffusers

    torch.manual_seed(0)
    small = {"block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 3}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    tiny = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    tiny |= {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    deep = {
        "encoder_block_out_channels": (8, 16),
        "decoder_block_out_channels": (8, 16),
        "latent_channels": 4,
    }
    deep |= {"encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1), "attention_head_dim": 8}
    deep |= {"encoder_qkv_multiscales": ((), ()), "decoder_qkv_multiscales": ((), ())}
    models = {
        "AutoencoderKL": diffusers.AutoencoderKL(**small, **blocks),
        "AutoencoderTiny": diffusers.AutoencoderTiny(**tiny),
        "AutoencoderDC": diffusers.AutoencoderDC(**deep),
    }
    folders = {}
    for name, model in models.items():
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        folders[name] = (folder, model.eval())
    return folders


@pytest.mark.parametrize(
    ("name", "d_z"), [("AutoencoderKL", 3 * 64), ("AutoencoderTiny", 4 * 64), ("AutoencoderDC", 4 * 64)]
)
def test_autoencoders_of_diffusers_come_from_a_folder_with_flat_latents(saved, name, d_z):
    folder, original = saved[name]
    model, x = bring("diffusers", folder, (3, 16, 16), d_z), seeded((2, 3, 16, 16))
    (q,) = model.posterior(x)
    with torch.no_grad():
        encoded = original.encode(2 * x - 1)
        if name == "AutoencoderKL":
            mean, std = encoded.latent_dist.mean, encoded.latent_dist.std
            torch.testing.assert_close(q.log_std.exp(), std.flatten(1))
        else:
            mean = encoded.latents if name == "AutoencoderTiny" else encoded.latent
            assert q.log_std.isneginf().all()
        torch.testing.assert_close(q.mean, mean.flatten(1))
        pictures = original.decode(mean).sample
    torch.testing.assert_close(model.decode(q.mean).mean, (pictures + 1) / 2)


def test_weights_of_another_autoencoder_are_named(saved, tmp_path):
    folder, _ = saved["AutoencoderKL"]
    tensors = read_checkpoint(folder / "diffusion_pytorch_model.safetensors", None)
    build = find_adapter("diffusers").build
    other = {f"net.{name}" if name.startswith("quant") else name: t for name, t in tensors.items()}
    missing = r"missing quant_conv\.weight, quant_conv\.bias; unexpected net\.quant_conv\.bias, net\.quant"
    with pytest.raises(DataError, match=f"{folder}: weights of another model: {missing}"):
        build(folder, other)
    with pytest.raises(DataError, match=r"quant_conv\.bias is \(1,\); the model has \(6,\)"):
        build(folder, tensors | {"quant_conv.bias": torch.zeros(1)})
    settings = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"_class_name": "AutoencoderOobleck"}))
    with pytest.raises(
        DataError, match="_class_name is 'AutoencoderOobleck'; expected one of AutoencoderKL, "
    ):
        build(tmp_path, tensors)
    with pytest.raises(DataError, match=r"has no diffusion_pytorch_model\.safetensors"):
        find_adapter("diffusers").weights(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        build(tmp_path, tensors)


def test_weights_with_the_names_of_older_versions_are_the_same_model(saved, tmp_path):
    """As in autoencoders of Stable Diffusion 1; the line about a pipeline's folder says where its one is."""
    folder, _ = saved["AutoencoderKL"]
    tensors = read_checkpoint(folder / "diffusion_pytorch_model.safetensors", None)
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in older.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = tensor
    assert len(renamed.keys() - tensors.keys()) == 16  # weight and bias of 4 maps in encoder and decoder
    build, x = find_adapter("diffusers").build, seeded((2, 3, 16, 16))
    (q,), (expected,) = (build(folder, weights).posterior(x) for weights in (renamed, tensors))
    assert torch.equal(q.mean, expected.mean)
    (tmp_path / "vae").mkdir()
    with pytest.raises(DataError, match=f"of this pipeline give diffusers:{tmp_path}/vae"):
        find_adapter("diffusers").weights(tmp_path)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_model_that_pythae_trained_and_saved(tmp_path, loss):
    from pythae.models import VAE, VAEConfig
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x = (load_digits().images / 16).astype(np.float32)[:, None]
    original = VAE(VAEConfig(input_dim=(1, 8, 8), latent_dim=4, reconstruction_loss=loss))
    options = {"num_epochs": 2, "per_device_train_batch_size": 128, "no_cuda": True}
    trainer = BaseTrainerConfig(output_dir=str(tmp_path), **options)
    TrainingPipeline(model=original, training_config=trainer)(train_data=x)
    (folder,) = tmp_path.glob("*/final_model")
    assert find_adapter("pythae").shape(folder) == (1, 8, 8)
    model, images = bring("pythae", folder, (1, 8, 8), 4), torch.from_numpy(x[:5])
    original = original.eval().cpu()
    with torch.no_grad():
        (q,) = model.posterior(images)
        encoded = original.encoder(images)
        torch.testing.assert_close(q.mean, encoded.embedding)
        torch.testing.assert_close(q.log_std, encoded.log_covariance / 2)
        likelihood = model.decode(q.mean)
        pictures = original.decoder(q.mean)["reconstruction"]
        torch.testing.assert_close(likelihood.mean, pictures, atol=1e-5, rtol=1e-4)
        # the likelihood is that of its own loss, up to the Gaussian's constant
        _, own, _ = original.loss_function(pictures, images, q.mean, 2 * q.log_std, q.mean)
        constant = 0.5 * 64 * np.log(2 * np.pi) if loss == "mse" else 0
        torch.testing.assert_close(-likelihood.log_prob(images).mean(), own + constant, atol=1e-3, rtol=1e-4)


def test_what_pythae_pickles_or_measures_otherwise_is_refused(tmp_path):
    build = find_adapter("pythae").build
    (tmp_path / "model_config.json").write_text('{"name": "VAE_IAF_Config"}')
    with pytest.raises(DataError, match="name is 'VAE_IAF_Config'; expected those of VAE, BetaVAE"):
        build(tmp_path, {})
    (tmp_path / "model_config.json").write_text('{"name": "BetaVAEConfig", "uses_default_encoder": false}')
    with pytest.raises(DataError, match="the encoder is a pickle, which is not executed"):
        build(tmp_path, {})


def test_a_hyperprior_of_compressai_decodes_what_the_codec_decodes(tmp_path):
    from compressai.models import ScaleHyperprior

    torch.manual_seed(0)
    original = ScaleHyperprior(8, 12).eval()
    original.update()
    torch.save(original.state_dict(), tmp_path / "codec.pth.tar")
    model, x = bring("compressai", tmp_path / "codec.pth.tar", (3, 64, 64), 12 * 16), seeded((1, 3, 64, 64))
    (q,) = model.posterior(x)
    assert q.log_std.isneginf().all()
    strings = original.compress(x)
    decoded = original.decompress(strings["strings"], strings["shape"])["x_hat"]
    torch.testing.assert_close(model.decode(q.mean).mean.clamp(0, 1), decoded, atol=1e-4, rtol=0)
    with pytest.raises(DataError, match=r"has no g_a\.0\.weight; expected the weights of a ScaleHyperprior"):
        find_adapter("compressai").build(tmp_path, {})


class Module(nn.Module):
    """Encoders that give their posterior in each of the usual forms."""

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.net, self.back = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

    def encode(self, x):
        mean, log_variance = self.net(x).chunk(2, 1)
        std = (log_variance / 2).exp()
        return self.forms(mean, log_variance, std)[self.form]()

    def forms(self, mean, log_variance, std):
        return {
            "pair": lambda: (mean, log_variance),
            "triple": lambda: (mean, log_variance, mean),
            "sample first": lambda: (mean + std * torch.randn_like(std), mean, log_variance),
            "sample first, in eval mode": lambda: (mean, mean, log_variance),
            "width is σ, as the sample tells": lambda: (mean, std, mean + std * torch.randn_like(std)),
            "positive width": lambda: (mean, std),
            "nested": lambda: (mean + std * torch.randn_like(std), (mean, log_variance), torch.zeros(())),
            "tensor": lambda: torch.cat([mean, log_variance], 1),
            "normal": lambda: Normal(mean, std),
            "independent": lambda: Independent(Normal(mean, std), 3),
            "normal in a pair": lambda: (Normal(mean, std), mean),
            "ours": lambda: DiagonalNormal(mean, log_variance / 2),
            "mapping": lambda: {"z": mean, "mu": mean, "logvar": log_variance},
            "object": lambda: SimpleNamespace(loc=mean, scale=std),
            "point": lambda: mean,
        }

    def decode(self, z):
        return self.back(z)


@pytest.mark.parametrize("form", Module("pair").forms(*[torch.zeros(1)] * 3))
def test_every_usual_form_of_an_encoder_is_the_same_posterior(form):
    module, x = Module(form).eval(), seeded((3, 1, 8, 8))
    (q,) = Plain(module).posterior(x)
    mean, log_variance = module.net(x).chunk(2, 1)
    torch.testing.assert_close(q.mean, mean.flatten(1))
    expected = torch.full_like(q.mean, -torch.inf) if form == "point" else log_variance.flatten(1) / 2
    torch.testing.assert_close(q.log_std, expected)


class Flat(nn.Module):
    """As in many examples: flat pictures, a width that only ``reparameterize`` tells, and a forward."""

    def __init__(self, d_z=3):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.head, self.decoder = nn.Linear(64, 16), nn.Linear(16, 2 * d_z), nn.Linear(d_z, 64)

    def encode(self, x):
        return self.head(self.net(x)).chunk(2, 1)

    def reparameterize(self, mu, log_std):
        return mu + log_std.exp() * torch.randn_like(mu)


class ForwardOnly(nn.Module):
    """No encode and no decode: networks, heads and a forward that gives pictures, mean and log variance."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.mu, self.logvar = nn.Linear(64, 16), nn.Linear(16, 3), nn.Linear(16, 3)
        self.decoder = nn.Linear(3, 64)

    def forward(self, x):
        h = self.encoder(x.flatten(1))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        return self.decoder(z).view_as(x), mu, logvar


def test_flat_pictures_other_names_and_a_width_that_only_samples_tell():
    x = seeded((3, 1, 8, 8))
    flat = Flat().eval()
    flat.head.weight.data[3:], flat.head.bias.data[3:] = 0, -1.5  # σ = e^−1.5, not e^−0.75
    model = Plain(flat)
    (q,) = model.posterior(x)
    torch.testing.assert_close(q.mean, flat.encode(x.flatten(1))[0])
    torch.testing.assert_close(q.log_std, torch.full((3, 3), -1.5))
    torch.testing.assert_close(model.decode(q.mean).mean, flat.decoder(q.mean).view(3, 1, 8, 8))
    model = Plain(net := ForwardOnly().eval())
    (q,) = model.posterior(x)
    _, mean, log_variance = net(x)
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.log_std, log_variance / 2)
    torch.testing.assert_close(model.decode(q.mean).mean, net.decoder(mean).view(3, 1, 8, 8))


def test_every_usual_form_of_a_decoder_is_the_same_picture():
    module, x = Module("pair").eval(), seeded((3, 1, 8, 8))
    plain = Plain(module, "gaussian", sigma=0.3)
    (q,) = plain.posterior(x)
    pictures = module.back(q.mean.view(3, 2, 4, 4))
    density = Normal(pictures, 0.3).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(plain.decode(q.mean).log_prob(x), density)
    for output in ({"x_hat": pictures}, (pictures,), type("Output", (), {"sample": pictures})()):
        module.decode = lambda z, output=output: output
        torch.testing.assert_close(plain.decode(q.mean).mean, pictures)
    module.decode = lambda z: Independent(Normal(pictures, 0.3), 3)
    torch.testing.assert_close(plain.decode(q.mean).log_prob(x), density)
    probabilities = pictures.sigmoid()
    for plain.likelihood, output in (("bernoulli", pictures), ("probabilities", probabilities)):
        module.decode = lambda z, output=output: output
        torch.testing.assert_close(plain.decode(q.mean).mean, probabilities)
    module.decode = lambda z: z
    with pytest.raises(DataError, match=r"decode: gave \(3, 2, 4, 4\); expected \(B, 1, 8, 8\)"):
        plain.decode(q.mean)
    module.decode = lambda z: "picture"
    with pytest.raises(DataError, match="decode: gave str; expected a tensor, several of them, or a normal"):
        plain.decode(q.mean)


def test_an_entry_names_a_library_and_a_path():
    assert split_entry("diffusers:models/sd:vae") == ("diffusers", "models/sd:vae")
    assert split_entry("my_vae.py:load") is split_entry("diffusers:") is None
    assert [find_adapter(name).name for name in ADAPTERS] == list(ADAPTERS)
