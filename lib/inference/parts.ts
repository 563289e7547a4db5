// What a model is made of, and whether it still is.
import { Tensor } from '../core';
import { Module } from '../nn';

/** The modules, lists, records and tensors within a model, each with where it stands. */
export class Parts {
  private readonly owners: { readonly [name: string]: unknown }[] = [];
  private readonly names: string[] = [];
  private readonly values: unknown[] = [];

  constructor(model: object) {
    this.add(model, new Set());
  }

  /** Whether every part stands where it stood: a look at each, no walk. */
  get stand(): boolean {
    const { owners, names, values } = this;
    for (let i = 0; i < owners.length; i++) if (owners[i][names[i]] !== values[i]) return false;
    return true;
  }

  private add(owner: object, seen: Set<unknown>): void {
    if (seen.has(owner)) return;
    seen.add(owner);
    for (const [name, value] of Object.entries(owner)) {
      if (!isPart(value)) continue;
      this.owners.push(owner as { [name: string]: unknown });
      this.names.push(name);
      this.values.push(value);
      if (!(value instanceof Tensor)) this.add(value, seen);
    }
  }
}

function isPart(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Tensor || value instanceof Module || Array.isArray(value)) return true;
  return Object.getPrototypeOf(value) === Object.prototype;
}
