/** Several values under one key. Most keys have one: it is kept without a Set around it, which would weigh two hundred bytes. */

/** Key -> distinct values; these must not be Sets themselves. */
export class MultiMap<K, V extends object | number> {
  readonly #values = new Map<K, V | Set<V>>();

  add(key: K, value: V): void {
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, value);
    else if (known instanceof Set) known.add(value);
    else if (known !== value) this.#values.set(key, new Set([known, value]));
  }

  remove(key: K, value: V): void {
    const known = this.#values.get(key);
    if (known === value) this.#values.delete(key);
    else if (known instanceof Set && known.delete(value) && known.size === 0) this.#values.delete(key);
  }

  count(key: K): number {
    const known = this.#values.get(key);
    return known === undefined ? 0 : known instanceof Set ? known.size : 1;
  }

  forEach(key: K, action: (value: V) => void): void {
    const known = this.#values.get(key);
    if (known instanceof Set) known.forEach(action);
    else if (known !== undefined) action(known);
  }
}
