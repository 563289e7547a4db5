// For tests of every part of a model, by family: settings with which each token goes to all experts of a layer, and a short
// text reaches every weight.
export const EVERY_PART: Readonly<Record<string, object>> = {
  'qwen3-next': { numExpertsPerTok: 4 },
  'qwen3.5-moe': { numExpertsPerTok: 4 },
  minimax: { numExpertsPerTok: 4 },
  mom: { topk: 4 },
  lact: { chunkSize: 1 },
  'kimi-linear': { numExpertsPerToken: 4, firstKDenseReplace: 0 },
};
