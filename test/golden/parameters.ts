// The tensors of a file as the parameters of a module.
import type { nn } from '../../lib';
import type { Inputs } from '../support/runCase';

interface Holder {
  [key: string]: unknown;
  get?(name: string): Holder;
}

/** Puts inputs in the places of all parameters of a module, of their names; each must be there, in its shape. */
export function giveParameters<M extends nn.Module>(module: M, inputs: Inputs): M {
  for (const [name, own] of module.namedParameters()) {
    const given = inputs[name];
    if (!given) throw new Error(`the file holds no ${name}`);
    if (String(given.shape) !== String(own.shape))
      throw new Error(`${name}: [${own.shape}], the file [${given.shape}]`);
    const path = name.split('.');
    const key = path.pop()!;
    const holder = path.reduce(
      (at, part) => (at[part] as Holder | undefined) ?? at.get!(part),
      module as unknown as Holder,
    );
    holder[key] = given;
  }
  return module;
}
