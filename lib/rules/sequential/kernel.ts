// A sequential rule's kernel on the tape.
import type { Tensor } from '../../core';
import { type BackwardFunction, record, recording } from '../../autograd';
import { zerosBeside } from '../../ops';

/** What the call of a kernel gives: what is recorded, and what the backward pass keeps of the call beside its inputs. */
export interface Call {
  outputs: Tensor[];
  kept: Tensor[];
}

/**
 * Runs a kernel on contiguous inputs, and records it: `forward` gets them and whether its backward pass may follow,
 * `backward` the gradients of its outputs (zeros where none came), the inputs and what was kept; it returns those of the
 * inputs. Null inputs stay null.
 */
export function callKernel(
  name: string,
  given: readonly (Tensor | null)[],
  forward: (inputs: (Tensor | null)[], training: boolean) => Call,
  backward: (gradients: Tensor[], inputs: (Tensor | null)[], kept: Tensor[]) => (Tensor | null)[],
): Tensor[] {
  const inputs = given.map((t) => t && t.contiguous());
  const training = recording(inputs);
  const { outputs, kept } = forward(inputs, training);
  if (!training) return outputs;
  const shapes = outputs.map((t) => t.shape);
  const present = inputs.filter((t) => t !== null);
  const back: BackwardFunction = (gradients, saved) => {
    const rest = [...saved];
    const again = inputs.map((t) => t && rest.shift()!);
    const like = saved[0];
    return backward(
      gradients.map((g, i) => (g ? g.contiguous() : zerosBeside(like, shapes[i]))),
      again,
      rest,
    );
  };
  record(name, inputs, outputs, [...present, ...kept], back);
  return outputs;
}
