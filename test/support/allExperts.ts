// For tests of every part of a model: settings with which each token goes to all experts of a layer, by family.
export const ALL_EXPERTS: Readonly<Record<string, object>> = {
  'qwen3-next': { numExpertsPerTok: 4 },
  'qwen3.5-moe': { numExpertsPerTok: 4 },
  minimax: { numExpertsPerTok: 4 },
  'kimi-linear': { numExpertsPerToken: 4, firstKDenseReplace: 0 },
};
