// States from outside: some of their numbers are looked at by the next tokens alone, which are tried before anything goes on.
import { noGrad } from '../autograd';
import { scope } from '../core';
import { zeros } from '../ops';
import type { RecurrentModel } from './model';
import { cloneState, disposeState, type State } from './state';

/** These are held against the length of the text. */
const COUNTED = /\.(position|start|end)$/;
/** Tokens behind which positions may be more than kernels count. */
const FAR = 2 ** 30;

/** Whether a state of so many tokens has numbers, by their paths, that only a model can judge. */
export function needsTrial(numbers: Iterable<string>, tokens: number): boolean {
  return tokens > FAR || [...numbers].some((name) => !COUNTED.test(name));
}

/** Reads tokens from copies of the state, in both forms: throws what a text that goes on there would. */
export function tryState(model: RecurrentModel, batch: number, state: State): void {
  const { device } = model;
  noGrad(() =>
    scope(() => {
      const copy = cloneState(state);
      try {
        model.prefill(zeros([batch, 2], { dtype: 'int32', device }), copy);
        model.step(zeros([batch], { dtype: 'int32', device }), copy);
      } finally {
        disposeState(copy);
      }
    }),
  );
}
