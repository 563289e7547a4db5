// The general fast-weight recurrence: over sequences, backwards, and one token at a time.
export { recurrenceBackward } from './backward';
export { recurrence } from './forward';
export { recurrenceStep } from './step';
