// Exponential gates with their running maximum, one head of one sequence at a time.
import type { KernelArguments } from '../table';
import { sigmoid, softplus } from './special';
import { floats, maybe, sequenceStarts } from './view';

type Sizes = Pick<KernelArguments<'exponentialGates'>, 'offsets' | 'sequences' | 'tokens' | 'heads'>;

/** Calls visit for every head of every sequence: its place among those, and its tokens' places [from, to), `heads` apart. */
function eachLine(args: Sizes, visit: (line: number, from: number, to: number) => void): void {
  const { sequences, tokens, heads } = args;
  const starts = sequenceStarts(args.offsets, sequences, tokens);
  for (let n = 0; n < sequences; n++) {
    for (let h = 0; h < heads; h++) visit(n * heads + h, starts[n] * heads + h, starts[n + 1] * heads + h);
  }
}

export function exponentialGates(args: KernelArguments<'exponentialGates'>): void {
  const { heads, logSigmoid } = args;
  const [input, forget, gate, beta, max] = [args.inputGate, args.forgetGate, args.gate, args.beta, args.max].map(
    floats,
  );
  const initial = maybe(args.initialMax);
  const final = floats(args.finalMax);
  eachLine(args, (line, from, to) => {
    let exact = initial ? initial[line] : 0;
    let m = exact;
    for (let at = from; at < to; at += heads) {
      const decay = logSigmoid ? -softplus(-forget[at]) : forget[at];
      exact = decay === -Infinity ? input[at] : Math.max(input[at], decay + exact);
      // Gates go by m as it is stored, so that its roundings cancel.
      max[at] = exact;
      gate[at] = m - max[at] + decay;
      m = max[at];
      beta[at] = Math.exp(input[at] - m);
    }
    final[line] = m;
  });
}

export function exponentialGatesBackward(args: KernelArguments<'exponentialGatesBackward'>): void {
  const { heads, logSigmoid } = args;
  const [input, forget, beta, max] = [args.inputGate, args.forgetGate, args.beta, args.max].map(floats);
  const [dgate, dbeta, dmax, dfinal] = [args.dgate, args.dbeta, args.dmax, args.dfinalMax].map(floats);
  const [dinput, dforget] = [args.dinputGate, args.dforgetGate].map(floats);
  const dinitial = maybe(args.dinitialMax);
  eachLine(args, (line, from, to) => {
    let reaching = dfinal[line];
    for (let at = to - heads; at >= from; at -= heads) {
      const all = reaching + dmax[at];
      const carried = max[at] > input[at];
      reaching = carried ? all : 0;
      dinput[at] = dbeta[at] * beta[at] + (carried ? 0 : all);
      dforget[at] = (dgate[at] + reaching) * (logSigmoid ? sigmoid(-forget[at]) : 1);
    }
    if (dinitial) dinitial[line] = reaching + (from < to ? dgate[from] : 0);
  });
}
