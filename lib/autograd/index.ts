// Recording, the backward pass, and gradient checks.
export * from './backward';
export * from './checkpoint';
export * from './gradcheck';
export * from './mode';
export { record, recording, type BackwardFunction } from './tape';
