// All that the library wants of what it runs on: files, process, timers, modules. Another runtime replaces this room.
export * from './bytes';
export * from './files';
export * from './modules';
export * from './process';
export * from './timers';
