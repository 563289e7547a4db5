// Fast-weight rules, and what only models of continuous time take from here.
export * as odeParts from './continuous/parts';
export * from './public';
