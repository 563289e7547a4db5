// Sums of products by Einstein's convention, as batched matrix products.
import { argumentError, describe, formatShape, isFloat, type Shape, type Tensor } from '../core';
import { checkAlike, checkTensor, takesBfloat16 } from './kernel';
import { mul } from './elementwise';
import { matmul } from './matmul';
import { sum } from './reduce';
import { diagonal } from './triangles';
import { permute, reshape } from './view';

/** What an equation says: the labels of each operand, and of the result where it names them. */
interface Equation {
  inputs: string[][];
  output: string[] | null;
}

/** A tensor with a label for each dimension, none twice. */
interface Labelled {
  t: Tensor;
  labels: string[];
}

const ELLIPSIS = '...';

function refuse(expected: string, found: string): never {
  throw argumentError('INVALID_ARGUMENT', 'einsum', 'equation', expected, found);
}

function parse(equation: unknown): Equation {
  if (typeof equation !== 'string') return refuse("a string such as 'ij,jk->ik'", describe(equation));
  const sides = equation.replaceAll(' ', '').split('->');
  if (sides.length > 2) refuse("one with a single '->'", describe(equation));
  return {
    inputs: sides[0].split(',').map((term) => labelsOf(term, equation)),
    output: sides.length === 2 ? labelsOf(sides[1], equation) : null,
  };
}

function labelsOf(term: string, equation: string): string[] {
  const labels: string[] = term.match(/\.\.\.|./gs) ?? [];
  const wrong = labels.find((label) => label !== ELLIPSIS && !/^[a-zA-Z]$/.test(label));
  if (wrong !== undefined)
    refuse("made of letters, ',', '->' and '...'", `${describe(wrong)} in ${describe(equation)}`);
  if (labels.indexOf(ELLIPSIS) !== labels.lastIndexOf(ELLIPSIS)) {
    refuse("one with at most one '...' a term", describe(equation));
  }
  return labels;
}

/** The dimensions of '...', named from the last one, so that those of different tensors broadcast. */
function ellipsisLabels(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `.${count - 1 - i}`);
}

/** The labels of an operand's dimensions, which may stand several times. */
function named(labels: string[], t: Tensor, i: number): string[] {
  const rest = t.ndim - labels.filter((label) => label !== ELLIPSIS).length;
  if (rest < 0 || (rest > 0 && !labels.includes(ELLIPSIS))) {
    const expected = `of ${labels.length} dimensions like '${labels.join('')}'`;
    throw argumentError('SHAPE', 'einsum', `operands[${i}]`, expected, formatShape(t.shape));
  }
  return labels.flatMap((label) => (label === ELLIPSIS ? ellipsisLabels(rest) : [label]));
}

/** Those of a result that the equation does not name: '...' first, then what stands once, by the alphabet. */
function implied(terms: readonly string[][]): string[] {
  const letters = terms.flat().filter((label) => !label.startsWith('.'));
  const once = letters.filter((label) => letters.indexOf(label) === letters.lastIndexOf(label));
  return [ELLIPSIS, ...once.sort()];
}

function checkOutput(output: readonly string[], terms: readonly string[][]): void {
  output.forEach((label, i) => {
    if (output.indexOf(label) !== i) refuse('one whose result names each dimension once', `'${label}' twice`);
    if (label !== ELLIPSIS && !terms.some((term) => term.includes(label))) {
      refuse('one whose result names dimensions of operands', `'${label}'`);
    }
  });
}

/** Sizes by label; 1 goes with every other. */
function sizesOf(terms: readonly string[][], operands: readonly Tensor[]): Map<string, number> {
  const sizes = new Map<string, number>();
  terms.forEach((term, i) =>
    term.forEach((label, d) => {
      const { shape } = operands[i];
      const [size, known, own] = [shape[d], sizes.get(label) ?? 1, shape[term.indexOf(label)]];
      if (size !== own || (size !== known && size !== 1 && known !== 1)) {
        const expected = `${size === own ? known : own} at '${label.startsWith('.') ? ELLIPSIS : label}', as before`;
        throw argumentError('SHAPE', 'einsum', `operands[${i}]`, expected, formatShape(shape));
      }
      sizes.set(label, known === 1 ? size : known);
    }),
  );
  return sizes;
}

/** Repeated labels become one, a diagonal; sizes of 1 that stand for larger ones go. */
function simplify(t: Tensor, term: readonly string[], sizes: ReadonlyMap<string, number>): Labelled {
  const labels = term.filter((label, d) => t.shape[d] === sizes.get(label));
  let y = reshape(
    t,
    t.shape.filter((n, d) => n === sizes.get(term[d])),
  );
  for (let second = 1; second < labels.length; second++) {
    const first = labels.indexOf(labels[second]);
    if (first === second) continue;
    y = diagonal(y, 0, first, second);
    labels.push(labels[first]);
    labels.splice(second, 1);
    labels.splice(first, 1);
    second = 0;
  }
  return { t: y, labels };
}

/** Sums over every label that is not kept. */
function sumOut({ t, labels }: Labelled, keep: (label: string) => boolean): Labelled {
  const dims = [...labels.keys()].filter((d) => !keep(labels[d]));
  return dims.length === 0 ? { t, labels } : { t: sum(t, dims), labels: labels.filter(keep) };
}

/** Dimensions in the order of some of its labels. */
function arranged({ t, labels }: Labelled, order: readonly string[]): Tensor {
  return permute(
    t,
    order.map((label) => labels.indexOf(label)),
  );
}

/** The product of two operands, summed over the labels that neither the result nor another operand has. */
function contract(one: Labelled, two: Labelled, keep: (label: string) => boolean): Labelled {
  const a = sumOut(one, (label) => keep(label) || two.labels.includes(label));
  const b = sumOut(two, (label) => keep(label) || one.labels.includes(label));
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter(keep);
  const inner = shared.filter((label) => !keep(label));
  const rows = a.labels.filter((label) => !shared.includes(label));
  const columns = b.labels.filter((label) => !shared.includes(label));
  const left = arranged(a, [...batch, ...rows, ...inner]);
  const [m, k] = [rows.length, inner.length];
  const lead = left.shape.slice(0, batch.length);
  const labels = [...batch, ...rows, ...columns];
  if (k === 0 || !isFloat(left.dtype)) {
    const right = arranged(b, [...batch, ...columns, ...inner]);
    const [outer, deep] = [
      right.shape.slice(lead.length, lead.length + columns.length),
      left.shape.slice(lead.length + m),
    ];
    const wide = (t: Tensor, shape: Shape): Tensor => reshape(t, [...lead, ...shape, ...deep]);
    const ones = (count: number): number[] => new Array<number>(count).fill(1);
    const own = left.shape.slice(lead.length, lead.length + m);
    const product = mul(wide(left, [...own, ...ones(columns.length)]), wide(right, [...ones(m), ...outer]));
    return k === 0
      ? { t: product, labels }
      : {
          t: sum(
            product,
            inner.map((_, i) => -1 - i),
          ),
          labels,
        };
  }
  const right = arranged(b, [...batch, ...inner, ...columns]);
  const count = (shape: Shape): number => shape.reduce((x, y) => x * y, 1);
  const own = left.shape.slice(lead.length, lead.length + m);
  const outer = right.shape.slice(lead.length + k);
  const depth = count(left.shape.slice(lead.length + m));
  const batches = count(lead);
  const product = matmul(reshape(left, [batches, count(own), depth]), reshape(right, [batches, depth, count(outer)]));
  return { t: reshape(product, [...lead, ...own, ...outer]), labels };
}

/**
 * The sum of the products of the operands over every letter that is not in the result: 'ij,jk->ik' is a matrix product,
 * 'ii->' a trace, 'bhtd,bhsd->bhts' the scores of attention. Without '->' the result has the letters that stand once, by
 * the alphabet; '...' stands for dimensions that broadcast and, where the result does not name it, are summed over. Operands
 * are taken from left to right, each product a batched matrix product; those of int32 are products of elements.
 */
export const einsum = takesBfloat16((equation: string, ...operands: readonly Tensor[]): Tensor => {
  const { inputs, output } = parse(equation);
  if (operands.length !== inputs.length) {
    throw argumentError(
      'INVALID_ARGUMENT',
      'einsum',
      'operands',
      `${inputs.length}, one a term`,
      String(operands.length),
    );
  }
  operands.forEach((t, i) => {
    checkTensor('einsum', `operands[${i}]`, t);
    if (i > 0) checkAlike('einsum', `operands[${i}]`, t, operands[0], 'the first operand');
  });
  const terms = inputs.map((labels, i) => named(labels, operands[i], i));
  if (output) checkOutput(output, terms);
  const dots = Math.max(0, ...terms.map((term) => term.filter((label) => label.startsWith('.')).length));
  const result = (output ?? implied(terms)).flatMap((label) => (label === ELLIPSIS ? ellipsisLabels(dots) : [label]));
  const sizes = sizesOf(terms, operands);
  const parts = terms.map((term, i) => simplify(operands[i], term, sizes));
  let product = parts[0];
  for (let i = 1; i < parts.length; i++) {
    const later = parts.slice(i + 1);
    product = contract(
      product,
      parts[i],
      (label) => result.includes(label) || later.some((p) => p.labels.includes(label)),
    );
  }
  return arranged(
    sumOut(product, (label) => result.includes(label)),
    result,
  );
});
