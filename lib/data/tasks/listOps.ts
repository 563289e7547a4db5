// Sequential ListOps (spec 3.5): nested minima, maxima and firsts of digits, whose value is asked for at the last token.
import { argumentError, checkInteger, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { type Dataset, evaluationRandom } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `listOps`; T is `maxLength`. */
export interface ListOpsOptions extends TaskOptions {
  /** Depth of the deepest digit, the outermost operator's being 1; 4 by default. The published sets have 11 and 16. */
  depth?: number;
  /** Most tokens of an expression, longer ones are not drawn; 64 by default. The published generator has no limit. */
  maxLength?: number;
  /** Most arguments of an operator, of which there are 2 at least; 5 by default. */
  maxArguments?: number;
  /**
   * Whether a place below the outermost operator holds a digit with a probability of 0.75, as in the published program,
   * whose comparison is inverted; true by default. false: 0.25, as its comment says.
   */
  inverted?: boolean;
}

const OPTIONS: OptionNames<ListOpsOptions> = {
  ...TASK_OPTIONS,
  depth: true,
  maxLength: true,
  maxArguments: true,
  inverted: 'flag',
};

/** Digits have the ids 0 to 9, then these; the last one is padding. */
const TOKENS = [...'0123456789', '[MIN', '[MAX', '[FIRST', ']', '.'];
const [FIRST_OPERATOR, END, PADDING] = [10, 13, 14];

const APPLY: readonly ((values: readonly number[]) => number)[] = [
  (values) => Math.min(...values),
  (values) => Math.max(...values),
  (values) => values[0],
];

/** At this depth all are digits. */
const MOST_DEPTH = 20;
const MOST_TRIES = 20_000;

interface Expression {
  ids: number[];
  value: number;
  deepest: number;
}

/** What a place of an expression is filled with. */
interface Shape {
  /** How probable a digit is. */
  digit: number;
  maxArguments: number;
  /** Of digits; what is deeper is given up. */
  depth: number;
  maxLength: number;
}

/** A random expression at a depth; null as soon as it is deeper or longer than it may be. */
function expression(random: HostRandom, at: number, shape: Shape): Expression | null {
  if (at > shape.depth) return null;
  if (at > 1 && (at >= MOST_DEPTH || random.next() < shape.digit)) {
    const value = random.below(10);
    return { ids: [value], value, deepest: at };
  }
  const count = 2 + random.below(shape.maxArguments - 1);
  const operator = random.below(APPLY.length);
  const ids = [FIRST_OPERATOR + operator];
  const values: number[] = [];
  let deepest = 1;
  for (let i = 0; i < count; i++) {
    const part = expression(random, at + 1, shape);
    if (part === null || ids.length + part.ids.length >= shape.maxLength) return null;
    ids.push(...part.ids);
    values.push(part.value);
    deepest = Math.max(deepest, part.deepest);
  }
  ids.push(END);
  return { ids, value: APPLY[operator](values), deepest };
}

/**
 * Expressions such as `[MIN 4 [MAX 7 2 ] 9 ]` and padding; the one label, at the last token of the expression, is its value.
 * Operators are MIN, MAX and FIRST of 2 to `maxArguments` values; an expression counts only if its deepest digit is at
 * `depth` exactly. INVALID_ARGUMENT where such expressions of at most `maxLength` tokens are too rare.
 *
 * Nangia and Bowman 2018 as Irie, Schlag, Csordas, Schmidhuber, "Going beyond linear Transformers with recurrent fast weight
 * programmers" (NeurIPS 2021) have it.
 */
export function listOps(options: ListOpsOptions = {}): Dataset {
  const name = 'listOps';
  checkOptions(name, options, OPTIONS);
  const depth = checkInteger(name, 'depth', options.depth ?? 4, 2, MOST_DEPTH);
  const maxLength = checkInteger(name, 'maxLength', options.maxLength ?? 64, 4, 2 ** 20);
  const maxArguments = checkInteger(name, 'maxArguments', options.maxArguments ?? 5, 2, 1000);
  const shape = { digit: (options.inverted ?? true) ? 0.75 : 0.25, maxArguments, depth, maxLength };
  const once = (random: HostRandom): Expression | null => {
    const drawn = expression(random, 1, shape);
    return drawn?.deepest === depth ? drawn : null;
  };
  const probe = evaluationRandom(0, 0);
  if (!Array.from({ length: MOST_TRIES }).some(() => once(probe) !== null))
    throw argumentError('INVALID_ARGUMENT', name, 'maxLength', `long enough for depth ${depth}`, String(maxLength));

  return sequenceTask(
    {
      name,
      description: `ListOps of depth ${depth}, up to ${maxLength} tokens`,
      vocabSize: TOKENS.length,
      sequenceLength: maxLength,
      draw(random, { inputs, labels }) {
        let drawn: Expression | null = null;
        while (drawn === null) drawn = once(random);
        inputs.fill(PADDING);
        inputs.set(drawn.ids);
        labels[drawn.ids.length - 1] = drawn.value;
      },
      decode: (ids) => Array.from(ids, (id) => TOKENS[id]).join(' '),
    },
    options,
  );
}
