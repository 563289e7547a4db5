// Recording, the backward pass, users' functions and hooks, and gradient checks.
export { detectAnomaly, setDetectAnomaly } from './anomaly';
export { backward, gradients, type GradientsOptions } from './backward';
export * from './checkpoint';
export * from './function';
export * from './gradcheck';
export * from './mode';
export { registerHook } from './hooks';
export { record, recording, type BackwardFunction } from './tape';
export { throughComposition } from './composition';
