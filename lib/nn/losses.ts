// Losses as modules that hold their options; see the operators. PyTorch's names.
import { checkObject, type DType, scope, Tensor } from '../core';
import { noGrad } from '../autograd';
import {
  binaryCrossEntropyWithLogits,
  type BinaryCrossEntropyOptions,
  crossEntropy,
  type CrossEntropyOptions,
  huberLoss,
  type HuberOptions,
  klDiv,
  type KlDivOptions,
  l1Loss,
  type LossOptions,
  mseLoss,
  nllLoss,
  type NllOptions,
  smoothL1Loss,
  type SmoothL1Options,
  zeros,
} from '../ops';
import { Module } from './module';

type LossFunction<O> = (x: Tensor, target: Tensor, options?: O) => Tensor;

/** A module that holds the options of a loss. */
interface LossModule extends Module {
  forward(x: Tensor, target: Tensor): Tensor;
}

/** Refuses what the loss does: it is computed once, of the smallest inputs, without the tensors, whose shapes depend on them. */
function checkLoss<O extends object>(loss: LossFunction<O>, where: string, options: O, targets: DType): void {
  checkObject(where, 'options', options);
  const others = Object.entries(options).map(([name, value]) => [
    name,
    value instanceof Tensor ? null : (value as unknown),
  ]);
  noGrad(() =>
    scope(() => {
      const x = zeros([1, 1], { device: 'js' });
      const target = zeros(targets === 'int32' ? [1] : [1, 1], { dtype: targets, device: 'js' });
      loss(x, target, Object.fromEntries(others) as O);
    }),
  );
}

/**
 * The module of a loss, of targets of a dtype; tensors among its options, such as the weights of classes, are buffers, as
 * in PyTorch. Options that the loss does not take are refused at once.
 */
function holding<O extends object>(loss: LossFunction<O>, targets: DType = 'float32'): new (options?: O) => LossModule {
  return class extends Module {
    private readonly options: Partial<O> = {};
    private readonly tensors: string[] = [];

    constructor(options: O = {} as O) {
      super();
      checkLoss(loss, new.target.name, options, targets);
      for (const [name, value] of Object.entries(options)) {
        if (value instanceof Tensor) this.tensors.push(this.registerBuffer(name, value) && name);
        else Object.assign(this.options, { [name]: value as unknown });
      }
    }

    forward(x: Tensor, target: Tensor): Tensor {
      const own = this as unknown as Record<string, Tensor>;
      const tensors = Object.fromEntries(this.tensors.map((name) => [name, own[name]]));
      return loss(x, target, { ...this.options, ...tensors } as O);
    }
  };
}

/** `crossEntropy` as a module. */
export class CrossEntropyLoss extends holding<CrossEntropyOptions>(crossEntropy, 'int32') {}
/** `nllLoss` as a module. */
export class NLLLoss extends holding<NllOptions>(nllLoss, 'int32') {}
/** `mseLoss` as a module. */
export class MSELoss extends holding<LossOptions>(mseLoss) {}
/** `l1Loss` as a module. */
export class L1Loss extends holding<LossOptions>(l1Loss) {}
/** `smoothL1Loss` as a module. */
export class SmoothL1Loss extends holding<SmoothL1Options>(smoothL1Loss) {}
/** `huberLoss` as a module. */
export class HuberLoss extends holding<HuberOptions>(huberLoss) {}
/** `binaryCrossEntropyWithLogits` as a module. */
export class BCEWithLogitsLoss extends holding<BinaryCrossEntropyOptions>(binaryCrossEntropyWithLogits) {}
/** `klDiv` as a module. */
export class KLDivLoss extends holding<KlDivOptions>(klDiv) {}
