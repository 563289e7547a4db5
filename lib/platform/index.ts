// All that the library wants of what it runs on: files, process, timers, modules. Another runtime replaces this room.
// The runtime's modules are asked of the process: an import would be a `require` in bundles, which ES modules do not have.
export * from './bytes';
export * from './callers';
export * from './files';
export * from './modules';
export * from './process';
export * from './threads';
export * from './timers';
