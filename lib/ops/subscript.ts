// x[a, b, ...]: an item for each of the first dimensions, as in NumPy and PyTorch.
import {
  argumentError,
  broadcastShapes,
  describe,
  formatShape,
  type Index,
  sameShape,
  scoped,
  sizeOf,
  Tensor,
} from '../core';
import { lt, where } from './compare';
import { arange } from './create';
import { add, mul } from './elementwise';
import { indexSelect, nonzero, select } from './indexing';
import { checkIndices, checkSameDevice, checkTensor } from './kernel';
import { expand, permute, reshape, slice } from './view';

/** An int32 tensor that stands for a dimension. */
interface Advanced {
  dim: number;
  positions: Tensor;
}

/**
 * x[a, b, ...] with an item for each of the first dimensions: a number takes one position and drops the dimension, a pair
 * [start, end) a range, null all; an int32 tensor those positions, of which negative ones count from the end; a bool tensor
 * stands for as many dimensions as it has, and takes where it holds (it is read, which blocks). Several tensors act together:
 * they broadcast to one shape, which stands where the first of them stood or, if others lie between, in front. Views where no
 * tensor is among the items; a position outside is INVALID_ARGUMENT, thrown here or by what reads the result.
 */
export const index = scoped((x: Tensor, ...items: readonly Index[]): Tensor => {
  checkTensor('index', 'x', x);
  const advanced: Advanced[] = [];
  let y = x;
  let d = 0;
  items.forEach((item, i) => {
    const argument = `items[${i}]`;
    const wide = item instanceof Tensor && item.dtype === 'bool' ? item.ndim : 1;
    if (d + wide > y.ndim) {
      const expected = `for at most ${x.ndim} dimensions`;
      throw argumentError('INVALID_ARGUMENT', 'index', 'items', expected, `${items.length} items`);
    }
    if (item === null) d++;
    else if (typeof item === 'number') y = select(y, d, item);
    else if (item instanceof Tensor) {
      for (const positions of positionsOf(argument, item, y, d)) advanced.push({ dim: d++, positions });
    } else if (Array.isArray(item) && item.length === 2) y = slice(y, d++, item[0], item[1]);
    else {
      throw argumentError('INVALID_ARGUMENT', 'index', argument, 'a number, a pair, a tensor or null', describe(item));
    }
  });
  return advanced.length === 0 ? y : together(y, advanced);
});

function positionsOf(argument: string, item: Tensor, y: Tensor, d: number): Tensor[] {
  if (item.dtype !== 'bool') {
    checkIndices('index', argument, item, y);
    return [fromStart(item, y.shape[d])];
  }
  checkTensor('index', argument, item);
  checkSameDevice('index', argument, item, y);
  const covered = y.shape.slice(d, d + item.ndim);
  if (item.ndim === 0 || !sameShape(item.shape, covered)) {
    throw argumentError(
      'SHAPE',
      'index',
      argument,
      `${formatShape(covered)} like the dimensions`,
      formatShape(item.shape),
    );
  }
  const rows = nonzero(item);
  return covered.map((_, i) => select(rows, 1, i));
}

/** Positions from 0, each of them compared with the size of its dimension. */
function fromStart(item: Tensor, size: number): Tensor {
  const counted = where(lt(item, 0), add(item, size), item);
  const all = arange(0, size, 1, { dtype: 'int32', device: item.device });
  return reshape(indexSelect(all, 0, reshape(counted, [item.size])), item.shape);
}

function together(y: Tensor, advanced: readonly Advanced[]): Tensor {
  const shape = advanced.reduce<readonly number[]>(
    (all, { positions }) => broadcastShapes('index', all, positions.shape),
    [],
  );
  const dims = advanced.map(({ dim }) => dim);
  const adjacent = dims.every((dim, i) => dim === dims[0] + i);
  const front = adjacent ? dims[0] : 0;
  const others = [...y.shape.keys()].filter((d) => !dims.includes(d));
  const sizes = dims.map((dim) => y.shape[dim]);
  const rest = others.map((d) => y.shape[d]);
  const lined = permute(y, [...others.slice(0, front), ...dims, ...others.slice(front)]);
  const flat = reshape(lined, [...rest.slice(0, front), sizeOf(sizes), ...rest.slice(front)]);
  // Row-major over the dimensions that the tensors stand for.
  const place = advanced
    .map(({ positions }, i) => mul(expand(positions, shape), sizeOf(sizes.slice(i + 1))))
    .reduce((sum, part) => add(sum, part));
  const taken = indexSelect(flat, front, reshape(place, [sizeOf(shape)]));
  return reshape(taken, [...rest.slice(0, front), ...shape, ...rest.slice(front)]);
}
