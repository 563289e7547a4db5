// Modules: the base class, common layers, short convolution, feed-forward.
export * from './feedForward';
export * from './layers';
export * from './module';
export * from './shortConvolution';
