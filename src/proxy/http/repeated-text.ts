/** A string read again and again from bytes that are mostly the same. */
export class RepeatedText {
  #text = "";

  /** The text of `bytes[start .. end)`, one character per byte. */
  read(bytes: Buffer, start: number, end: number): string {
    const text = this.#text;
    if (text.length === end - start) {
      let i = 0;
      while (i < text.length && text.charCodeAt(i) === bytes[start + i]) i++;
      if (i === text.length) return text;
    }
    this.#text = bytes.toString("latin1", start, end);
    return this.#text;
  }
}
