// Data sets: text, and tasks that show what a fast-weight memory can and cannot do.
export { Accuracy, ratio, type Tally } from './accuracy';
export { type BeginningOptions, readBeginning, readFirstBytes } from './beginning';
export { type Batch, type Dataset, IGNORED } from './dataset';
export * from './tasks';
export { TEXT_ENCODINGS, type TextEncoding } from './encoding';
export {
  type OpenedText,
  openTextDataset,
  type OpenTextOptions,
  prepareText,
  type PreparedText,
  type TextProgress,
} from './openText';
export { textDataset, type TextDataset, type TextDatasetOptions, type TextOptions } from './text';
export { type LabelledSeries, parseTimeSeries, seriesDataset, type SeriesDatasetOptions } from './timeSeries';
export type { IdArray, TokenSequence } from './tokens';
