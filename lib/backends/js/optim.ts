// Optimiser updates, in place.
import type { KernelArguments } from '../table';
import { floats, maybe } from './view';

export function adam(args: KernelArguments<'adam'>): void {
  const { learningRate, beta1, beta2, eps, weightDecay, coupled, correction1, correction2 } = args;
  const scale = maybe(args.gradientScale)?.[0] ?? 1;
  if (Number.isNaN(scale)) return;
  args.parameters.forEach(({ size }, item) => {
    const [parameter, gradient] = [floats(args.parameters[item]), floats(args.gradients[item])];
    const [mean, square] = [floats(args.means[item]), floats(args.squares[item])];
    for (let i = 0; i < size; i++) {
      let p = parameter[i];
      let g = gradient[i] * scale;
      if (coupled) g += weightDecay * p;
      else p -= learningRate * weightDecay * p;
      const m = beta1 * mean[i] + (1 - beta1) * g;
      const v = beta2 * square[i] + (1 - beta2) * g * g;
      mean[i] = m;
      square[i] = v;
      parameter[i] = p - (learningRate * (m / correction1)) / (Math.sqrt(v / correction2) + eps);
    }
  });
}

export function sgd(args: KernelArguments<'sgd'>): void {
  const { learningRate, momentum, nesterov, weightDecay } = args;
  const scale = maybe(args.gradientScale)?.[0] ?? 1;
  if (Number.isNaN(scale)) return;
  args.parameters.forEach(({ size }, item) => {
    const [parameter, gradient] = [floats(args.parameters[item]), floats(args.gradients[item])];
    const buffer = maybe(args.momentumBuffers[item] ?? null);
    for (let i = 0; i < size; i++) {
      let step = gradient[i] * scale + weightDecay * parameter[i];
      if (buffer) {
        const velocity = momentum * buffer[i] + step;
        buffer[i] = velocity;
        step = nesterov ? step + momentum * velocity : velocity;
      }
      parameter[i] -= learningRate * step;
    }
  });
}
