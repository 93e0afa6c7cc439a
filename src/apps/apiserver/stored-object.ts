/** Objects as they lie in the store. */

/** Where an object lies. `kind` is the plural with its group; `namespace` is empty for cluster-wide kinds. */
export interface StoreKey {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** An object as it lies in the store. */
export interface StoredObject extends StoreKey {
  readonly json: string;
}
