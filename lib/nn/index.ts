// Modules: the base class, common layers, short convolution, feed-forward.
export * from './feedForward';
export { hasForwardHooks, type ForwardHook, type ForwardOutput, type ForwardPreHook } from './hooks';
export * from './layers';
export * from './module';
export * from './shortConvolution';
