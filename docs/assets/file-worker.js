// Browsers refuse workers on pages that are opened from a folder; the search's worker then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inner = frame.contentWindow
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.tell = data => inner.dispatchEvent(new inner.MessageEvent("message", { data }))
      const script = frame.contentDocument.createElement("script")
      script.src = url
      script.onload = () => {
        this.loaded = true
        this.waiting.forEach(this.tell)
      }
      frame.contentDocument.body.append(script)
    }
    postMessage(data) {
      if (this.loaded) this.tell(data)
      else this.waiting.push(data)
    }
    terminate() {}
  }
}
