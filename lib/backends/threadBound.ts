// Tensors belong to the thread that made them.
import { FastWeightsError } from '../core';

/** Structured cloning reads own properties in order, and this one is the first: no tensor leaves its thread. */
export class ThreadBound {
  constructor() {
    const get = (): never => {
      throw new FastWeightsError(
        'DEVICE',
        'tensors cannot be posted to another thread; post the array that data() resolves to',
      );
    };
    Object.defineProperty(this, 'thread', { enumerable: true, get });
  }
}
