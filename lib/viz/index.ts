// Pictures and reports: strings of SVG, HTML and terminal text, the same for the same input.
export { type AnswerCell, answerTable, type AnswerTable } from './answers';
export { lineChart, type LineChart, type Series, smooth } from './curves';
export { escapeMarkup, formatBytes, formatCount, formatDuration, formatNumber } from './format';
export { heatmapGrid, type HeatmapGrid, heatmapImage, heatmapPng } from './heatmap';
export type { Matrix } from './matrix';
export { encodePng } from './png';
export {
  createProgress,
  type Progress,
  type ProgressFields,
  type ProgressOptions,
  type ProgressStream,
} from './progress';
export { renderReport, type Report, type ReportRun, type ReportSample } from './report';
export { type ScoreGrid, scoreGrid } from './scores';
export { reportStyle } from './style';
export { bar, heat, sparkline, table } from './terminal';
export { type TokenRow, type TokenStrips, tokenStrips } from './tokens';
