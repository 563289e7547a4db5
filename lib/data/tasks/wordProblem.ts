// Word problems of groups (spec 3.6): the product of all elements so far, after each. S3 is solvable; the smallest group that
// is not is A5, whose words no memory of diagonal transitions follows at a fixed depth.
import { argumentError, checkChoice, checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** What `wordProblem` takes as `group`. */
export const WORD_PROBLEM_GROUPS = ['S3', 'S4', 'S5', 'A4', 'A5', 'Z2'] as const;

/** Options of `wordProblem`; T is `length` + 1. */
export interface WordProblemOptions extends TaskOptions {
  /** All permutations of three, four or five things, or the even ones of them; 'S3' by default. 'Z2' is parity. */
  group?: (typeof WORD_PROBLEM_GROUPS)[number];
  /** Elements of a word, 128 by default. */
  length?: number;
  /** Fewest elements of a word; `length` by default, above which lengths are drawn evenly. */
  minLength?: number;
  /** Elements are drawn from the identity and the transpositions of neighbours alone; false by default; not in A4 and A5. */
  generators?: boolean;
}

const OPTIONS: OptionNames<WordProblemOptions> = {
  ...TASK_OPTIONS,
  group: true,
  length: true,
  minLength: true,
  generators: 'flag',
};

type Permutation = readonly number[];

/** Of 0 ... n - 1, in lexicographic order. */
function permutations(n: number): Permutation[] {
  const grow = (head: number[]): number[][] =>
    head.length === n
      ? [head]
      : Array.from({ length: n }, (_, i) => i)
          .filter((i) => !head.includes(i))
          .flatMap((i) => grow([...head, i]));
  return grow([]);
}

const isEven = (p: Permutation): boolean =>
  p.reduce((swaps, a, i) => swaps + p.slice(i + 1).filter((b) => b < a).length, 0) % 2 === 0;

/** How many things a permutation moves from their places. */
const moved = (p: Permutation): number => p.filter((image, i) => image !== i).length;

const isNeighbours = (p: Permutation): boolean => {
  const first = p.findIndex((image, i) => image !== i);
  return moved(p) === 2 && p[first] === first + 1;
};

/**
 * A start token, `length` random elements of a group, padding (the start token again); the label at each is the product of
 * the elements so far, x_t ... x_2 x_1, x_1 acting first. Elements and labels are numbered alike: permutations of
 * 0 ... n - 1 in lexicographic order, the identity is 0.
 *
 * Siems et al., "DeltaProduct" (2025), section 5; Merrill, Petty, Sabharwal, "The illusion of state in state-space models"
 * (2024).
 */
export function wordProblem(options: WordProblemOptions = {}): Dataset {
  const name = 'wordProblem';
  checkOptions(name, options, OPTIONS);
  const group = checkChoice(name, 'group', options.group ?? 'S3', WORD_PROBLEM_GROUPS);
  const length = checkInteger(name, 'length', options.length ?? 128, 1);
  const minLength = checkInteger(name, 'minLength', options.minLength ?? length, 1, length);
  const alternating = group.startsWith('A');
  const generators = options.generators ?? false;
  if (generators && alternating)
    throw argumentError(
      'INVALID_ARGUMENT',
      name,
      'generators',
      `false in ${group}, which has no transpositions`,
      'true',
    );

  const elements = permutations(Number(group[1])).filter((p) => !alternating || isEven(p));
  const idOf = new Map(elements.map((p, id) => [p.join(), id]));
  const N = elements.length;
  /** products[a * N + b]: b first, then a. */
  const products = Int32Array.from(
    elements.flatMap((a) => elements.map((b) => idOf.get(b.map((image) => a[image]).join())!)),
  );
  const drawn = elements.flatMap((p, id) => (!generators || moved(p) === 0 || isNeighbours(p) ? [id] : []));

  return sequenceTask(
    {
      name,
      description: `the word problem of ${group}, ${length} elements${generators ? ', generators only' : ''}`,
      vocabSize: N + 1,
      sequenceLength: length + 1,
      draw(random, { inputs, labels }) {
        const n = minLength + random.below(length - minLength + 1);
        inputs.fill(N);
        let product = 0;
        for (let t = 1; t <= n; t++) {
          inputs[t] = drawn[random.below(drawn.length)];
          product = products[inputs[t] * N + product];
          labels[t] = product;
        }
      },
      decode: (ids) => Array.from(ids, (id) => (id < N ? elements[id].join('') : '.')).join(' '),
    },
    options,
  );
}
