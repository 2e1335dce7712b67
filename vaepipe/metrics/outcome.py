"""What an attack did in image space: reconstructions and their distances."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator
from vaepipe.metrics.similarity import ms_ssim


@torch.no_grad()
def outcome(model, x: Tensor, target: Tensor, distortion: Tensor, seed: int, samples: int) -> dict[str, Tensor]:
    """Decode samples of the posteriors of x, x + d and x_t; the same noise per pair for all three and for every λ.

    Args:
        x, target: (P, C, H, W) in [0,1]. distortion: (L, P, C, H, W).
        samples: posterior samples per image, S.

    Returns:
        Gondim-Ribeiro et al. 2018's distances, means over the samples s of 2-norms over all pixels:
        adversarial_distance A (L, P) = ‖rec_s(x + d) − x_t‖, target_distance T (P,) = ‖rec_s(x_t) − x_t‖,
        original_distance O (P,) = ‖rec_s(x) − x_t‖, and input_distance (P,) = ‖x − x_t‖;
        target_nll (L, P) = −log p(x_t|z*), z* ~ q(z|x + d), nats, mean over the samples;
        MS-SSIM (L, P) of x and x + d, and of the first sample's reconstructions of x + d and x, of x + d and x_t:
        input_similarity, reconstruction_similarity, target_similarity;
        of the first sample: reconstruction, target_reconstruction (P, C, H, W), adversarial_reconstruction (L, P, C, H, W).
    """
    noise = torch.stack(
        [
            torch.randn(
                samples, sum(model.latent_sizes), generator=seeded_generator(x.device, "outcome", seed, p), device=x.device
            )
            for p in range(len(x))
        ],
        1,
    )  # S, P, D of all layers

    def decode(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latents = model.infer(images, noise)[1]
        likelihood = model.decode(*(z.flatten(0, 1) for z in latents))
        pictures = likelihood.mean.unflatten(0, noise.shape[:2])  # S, P, C, H, W
        distance = (pictures - target).flatten(2).norm(dim=2).mean(0)  # P
        nll = -likelihood.log_prob(target.repeat(samples, 1, 1, 1)).unflatten(0, noise.shape[:2]).mean(0)
        return pictures[0], distance, nll

    rec, original, _ = decode(x)
    target_rec, floor, _ = decode(target)

    def attacked(d: Tensor) -> tuple[Tensor, ...]:
        picture, distance, nll = decode((x + d).clamp(0, 1))
        return picture, distance, nll, ms_ssim(x, x + d), ms_ssim(rec, picture), ms_ssim(target_rec, picture)

    rows = [attacked(d) for d in distortion]  # one λ at a time, so that memory does not grow with L
    pictures, distances, nll, *similarities = (torch.stack(parts) for parts in zip(*rows))
    return {
        "adversarial_distance": distances,
        "target_distance": floor,
        "original_distance": original,
        "input_distance": (x - target).flatten(1).norm(dim=1),
        "target_nll": nll,
        **dict(zip(("input_similarity", "reconstruction_similarity", "target_similarity"), similarities)),
        "reconstruction": rec,
        "target_reconstruction": target_rec,
        "adversarial_reconstruction": pictures,
    }
