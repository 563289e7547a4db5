// Other names of keys: transformers takes some keys of a config.json under two names and writes one of them.
import { PublishedConfiguration } from './configuration';

/**
 * A configuration of a file with what it has under other names under the family's own, too, unless it has those; `names` are the
 * own ones by the others.
 */
export function withOwnKeys(input: object, names: Readonly<Record<string, string>>): object {
  if (!(input instanceof PublishedConfiguration)) return input;
  const { json, fractions } = input;
  const others = Object.entries(names).filter(([other]) => Object.hasOwn(json, other));
  const own = Object.fromEntries(others.map(([other, name]) => [name, json[other]]));
  return new PublishedConfiguration({ ...own, ...json }, fractions);
}
