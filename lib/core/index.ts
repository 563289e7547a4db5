// Tensors, storages, memory scopes, shapes, dtypes and errors. Knows no kernel and no operator.
export * from './dtype';
export * from './errors';
export * from './generator';
export * from './methods';
export * from './options';
export * from './overlap';
export * from './philox';
export { currentScope, outsideScopes, belongsToCurrentScope, Scope, scope, scoped, track } from './scope';
export * from './shape';
export * from './storage';
export * from './synchronous';
export * from './tensor';
