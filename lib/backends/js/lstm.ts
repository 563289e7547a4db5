// One LSTM step on gates before activation, in the order i, f, g, o.
import type { KernelArguments } from '../table';
import { sigmoid, smallestNormal } from './special';
import { floats, maybe } from './view';

export function lstmCell(args: KernelArguments<'lstmCell'>): void {
  const { rows, d } = args;
  const gates = floats(args.gates);
  const cell = floats(args.cell);
  const newCell = floats(args.newCell);
  const smallest = smallestNormal(newCell);
  const hidden = floats(args.hidden);
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < d; j++) {
      const at = r * d + j;
      const gate = 4 * r * d + j;
      const i = sigmoid(gates[gate]);
      const f = sigmoid(gates[gate + d]);
      const g = Math.tanh(gates[gate + 2 * d]);
      const o = sigmoid(gates[gate + 3 * d]);
      const c = f * cell[at] + i * g;
      newCell[at] = Math.abs(c) < smallest ? 0 : c;
      hidden[at] = o * Math.tanh(c);
    }
  }
}

export function lstmCellBackward(args: KernelArguments<'lstmCellBackward'>): void {
  const { rows, d } = args;
  const gates = floats(args.gates);
  const cell = floats(args.cell);
  const newCell = floats(args.newCell);
  const dhidden = floats(args.dhidden);
  const dnewCell = maybe(args.dnewCell);
  const dgates = floats(args.dgates);
  const dcell = floats(args.dcell);
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < d; j++) {
      const at = r * d + j;
      const gate = 4 * r * d + j;
      const i = sigmoid(gates[gate]);
      const f = sigmoid(gates[gate + d]);
      const g = Math.tanh(gates[gate + 2 * d]);
      const o = sigmoid(gates[gate + 3 * d]);
      const c = Math.tanh(newCell[at]);
      const dc = (dnewCell ? dnewCell[at] : 0) + dhidden[at] * o * (1 - c * c);
      dgates[gate] = dc * g * i * (1 - i);
      dgates[gate + d] = dc * cell[at] * f * (1 - f);
      dgates[gate + 2 * d] = dc * i * (1 - g * g);
      dgates[gate + 3 * d] = dhidden[at] * c * o * (1 - o);
      dcell[at] = dc * f;
    }
  }
}
