// Recording, the backward pass, and gradient checks.
export { backward, type BackwardOptions } from './backward';
export * from './checkpoint';
export * from './gradcheck';
export * from './mode';
export { record, recording, type BackwardFunction } from './tape';
