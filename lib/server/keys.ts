// Who may ask: keys, compared in constant time, and what each of them may have.
import { argumentError } from '../core';
import { sameHex, sha256 } from '../platform';
import { ApiError } from './errors';

/** Of one key; without a number there is no limit. */
export interface KeyLimits {
  /** Requests at the same time; one of several prompts counts for each that is at work. */
  concurrent?: number;
  /** Tokens that are read and written in a minute. */
  tokensPerMinute?: number;
}

export interface ApiKey {
  /** For logs. */
  name: string;
  /** What its states are kept under: nothing that leads back to the key. */
  owner: string;
  limits: KeyLimits;
}

interface Known extends ApiKey {
  hash: string;
}

/** What states of a server that has no keys are kept under. */
const NOBODY = '0'.repeat(16);

function hashOf(text: string): string {
  const hash = sha256();
  hash.update(new TextEncoder().encode(text));
  return hash.hex();
}

/** The keys of a server. */
export class Keys {
  private constructor(
    private readonly known: readonly Known[],
    private readonly anyone: ApiKey | null = null,
  ) {}

  /**
   * One in a line, with `name=`, `concurrent=` and `tokens-per-minute=` behind it where wanted; empty lines and what follows
   * `#` at the beginning of a line or behind white space do not count. `where` names the file in errors.
   */
  static parse(text: string, where: string, usual: KeyLimits = {}): Keys {
    const known: Known[] = [];
    for (const [i, line] of text.split('\n').entries()) {
      const [key, ...settings] = line
        .replace(/(^|\s)#.*/, '')
        .trim()
        .split(/\s+/);
      if (key === '') continue;
      const argument = `line ${i + 1}`;
      const one = keyOf(key, settings, where, argument, usual);
      if (known.some(({ hash }) => hash === one.hash)) {
        throw argumentError('INVALID_ARGUMENT', where, argument, 'a key that no line before it has', 'one twice');
      }
      known.push(one);
    }
    if (known.length === 0) throw argumentError('INVALID_ARGUMENT', where, 'keys', 'at least one key', 'none');
    return new Keys(known);
  }

  /** Anyone may ask, and all together have these limits. */
  static none(limits: KeyLimits = {}): Keys {
    return new Keys([], { name: 'anonymous', owner: NOBODY, limits });
  }

  get needed(): boolean {
    return this.anyone === null;
  }

  /** Whose key an Authorization header holds; every key is looked at, whichever it is. */
  holder(header: string | undefined): ApiKey {
    if (this.anyone) return this.anyone;
    const given = /^Bearer (.+)$/i.exec(header ?? '')?.[1];
    if (given === undefined) {
      throw new ApiError(401, "You didn't provide an API key: send it as 'Authorization: Bearer KEY'.", {
        code: 'missing_api_key',
      });
    }
    const hash = hashOf(given.trim());
    let holder: ApiKey | undefined;
    for (const one of this.known) if (sameHex(one.hash, hash)) holder = one;
    if (holder) return holder;
    throw new ApiError(401, 'Incorrect API key provided.', { code: 'invalid_api_key' });
  }
}

/** Shorter ones are guessed. */
const SHORTEST = 16;

function keyOf(key: string, settings: string[], where: string, argument: string, usual: KeyLimits): Known {
  const refuse = (expected: string, found: string): never => {
    throw argumentError('INVALID_ARGUMENT', where, argument, expected, found);
  };
  if (key.length < SHORTEST) refuse(`a key of at least ${SHORTEST} characters`, `one of ${key.length}`);
  const hash = hashOf(key);
  // Of another text than the one that is compared.
  const owner = hashOf(`owner ${key}`).slice(0, 16);
  const known: Known = { hash, owner, name: owner.slice(0, 8), limits: { ...usual } };
  for (const setting of settings) {
    const [name, value = ''] = setting.split('=');
    const count = /^[1-9]\d*$/.test(value) ? Number(value) : undefined;
    if (name === 'name' && value !== '') known.name = value;
    else if (name === 'concurrent' && count !== undefined) known.limits.concurrent = count;
    else if (name === 'tokens-per-minute' && count !== undefined) known.limits.tokensPerMinute = count;
    else refuse('a key, then name=, concurrent= or tokens-per-minute= with a value', setting);
  }
  return known;
}
