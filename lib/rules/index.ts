// Fast-weight rules, and what only models take from here.
export * as odeParts from './continuous/parts';
export { RULE_DESCRIPTIONS } from './descriptions';
export { routeRows, type RoutedRows } from './delta/routedRows';
export * from './public';
