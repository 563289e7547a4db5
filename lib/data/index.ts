// Data sets: text, and tasks that show what a fast-weight memory can and cannot do.
export { Accuracy, ratio, type Tally } from './accuracy';
export { type Batch, type Dataset, IGNORED } from './dataset';
export * from './tasks';
export { textDataset, type TextDataset, type TextDatasetOptions } from './text';
