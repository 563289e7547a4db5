// The recurrence over whole sequences: walks sequences, heads and blocks of tokens, keeps checkpoints of the state.
import type { KernelArguments } from '../../table';
import { floats, maybe, sequenceStarts } from '../view';
import { ChunkForm, CHUNK } from './chunk';
import { isLagged, runLagged } from './lagged';
import { loadState, Operands, planOf, storeRows, storeState } from './operands';
import { Normalizer } from './normalizer';
import { BLOCK, scan } from './scan';

export function recurrence(args: KernelArguments<'recurrence'>): void {
  const plan = planOf(args);
  const { heads, K, V, values, lanes } = plan;
  const starts = sequenceStarts(args.offsets, args.sequences, args.tokens);
  // The exchanged form is read along the other dimension of its state and always runs token by token.
  const chunked = !args.recurrent && !plan.exchanged;
  const capacity = chunked ? CHUNK : BLOCK;
  const x = new Operands(plan, args, capacity);
  const chunk = chunked ? new ChunkForm(plan, x) : null;
  const run = isLagged(plan) ? runLagged : scan;
  const normalizer = Normalizer.of(plan, args);
  const initial = maybe(args.initialState);
  const final = maybe(args.finalState);
  const states = maybe(args.states);
  const written = maybe(args.written);
  const output = floats(args.output);
  const S = new Float64Array(lanes * K);
  const o = new Float64Array(capacity * x.outWidth);
  const r = new Float64Array(capacity * lanes);

  let checkpoint = 0;
  for (let n = 0; n < args.sequences; n++) {
    const length = starts[n + 1] - starts[n];
    for (let h = 0; h < heads; h++) {
      const stateAt = (n * heads + h) * K * V;
      loadState(initial, stateAt, plan, S);
      for (let t = 0; t < length;) {
        let end = Math.min(t + capacity, length);
        if (states) {
          const segment = Math.floor(t / args.checkpointEvery);
          if (t === segment * args.checkpointEvery) {
            storeState(S, plan, states, ((checkpoint + segment) * heads + h) * K * V);
          }
          end = Math.min(end, (segment + 1) * args.checkpointEvery);
        }
        const token = starts[n] + t;
        const count = end - t;
        x.load(token, count, h);
        if (chunk) chunk.run(count, S, o, r);
        else run(plan, x, count, S, o, r);
        normalizer?.divide(o, token, count, h);
        storeRows(o, x.outWidth, output, token, count, h, heads, plan.exchanged ? K : values);
        if (written) storeRows(r, lanes, written, token, count, h, heads, V);
        t = end;
      }
      if (final) storeState(S, plan, final, stateAt);
    }
    if (states) checkpoint += Math.ceil(length / args.checkpointEvery);
  }
}
