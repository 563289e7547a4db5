// POST /v1/sessions/{id}/inspect: what the fast weights of a model did in a conversation.
import type { MemoryFacts, SessionInspection } from '../engine/inspect';

/** The answer's body; steps are counted from 0 within the tokens that were looked at. */
export function inspectionBody(id: string, name: string, found: SessionInspection): object {
  return {
    object: 'session.inspection',
    session_id: id,
    model: name,
    family: found.model,
    length: found.length,
    first: found.first,
    ...(found.supposed !== undefined && { supposed: found.supposed }),
    tokens: found.tokens,
    places: found.places.map(({ keyDim, valueDim, holds, ...place }) => {
      return {
        ...place,
        keys: keyDim,
        values: valueDim,
        ...(holds !== undefined && { holds: holds && rounded(holds) }),
      };
    }),
    memory: memoryBody(found.memory),
    ...(found.page && { page: found.page }),
  };
}

function memoryBody(memory: MemoryFacts): object {
  const { layer, head, matrix, rule, writesPerToken, overwrites } = memory;
  return {
    layer,
    head,
    matrix,
    rule,
    writes_per_token: writesPerToken,
    written: rounded(memory.written),
    strength: memory.strength && rounded(memory.strength),
    forgets: memory.forgets && rounded(memory.forgets),
    known_before: rounded(memory.knownBefore),
    known_after: rounded(memory.knownAfter),
    known_now: rounded(memory.knownNow),
    kept: rounded(memory.kept),
    overwrites: overwrites.map(({ step, of, share }) => ({ step, of, share: round(share) })),
    reads: rounded(memory.reads),
    reads_before: round(memory.readsBefore),
    norm: rounded(memory.norm),
    singular_values: rounded(memory.singular),
    effective_rank: round(memory.effectiveRank),
  };
}

/** Four digits; null where there is no number to tell. */
function round(x: number): number | null {
  return Number.isFinite(x) ? Number(x.toPrecision(4)) : null;
}

function rounded(values: Float64Array): (number | null)[] {
  return Array.from(values, round);
}
