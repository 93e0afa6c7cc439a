/** Something that turns a source of truth into committed files. */
export interface Generator {
  /** Shown to people: `npm run generate`. */
  readonly name: string;
  /** Path relative to the repository's root -> the file's whole text. Reads only; main.ts writes or compares. */
  generate(): Promise<ReadonlyMap<string, string>>;
}
