// Reads a listing of nvdisasm (-hex, with -gi for source lines): functions, instructions, labels.
//
// The upper word of an instruction's encoding also says how it is scheduled, from bit 41 on: cycles until the next one may
// follow (4 bits), a hint (1), the scoreboard that it sets when its result is there (3; 7: none) and the one when its
// operands have been read (3), and which of the six it waits for before it begins (6).
import { parseOperand } from './operands.mjs';

const SECTION = /^\s*\.section\s+\.text\.([^\s,]+)/;
const TABLE = /^\s*\.section\s+\.nv\.constant2\.([^\s,]+)/;
const BYTES = /^\s*\/\*[0-9a-f]{4,}\*\/\s+\.(byte|word)\s+(.*)/;
const LINE = /^\s*\/\/## File "([^"]+)", line (\d+)/;
const LABEL = /^([.$\w]+):\s*$/;
const INSTRUCTION =
  /^\s*\/\*([0-9a-f]{4,})\*\/\s+(?:@(!?)(U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;\s*\/\* 0x([0-9a-f]{16}) \*\//;
const UPPER = /^\s*\/\* 0x([0-9a-f]{16}) \*\//;

/** Operands between commas that stand outside brackets. */
function split(text) {
  return text ? text.split(/,\s*(?![^[]*\])/) : [];
}

function schedule(upper) {
  const bits = Number(upper >> 41n);
  return {
    stall: bits & 15,
    whenWritten: (bits >> 5) & 7,
    whenRead: (bits >> 8) & 7,
    waits: (bits >> 11) & 63,
  };
}

/**
 * The functions of a listing by symbol: { symbol, code, labels }, code in the order of addresses, each instruction with its
 * index, and `at` from an address or a label to an index.
 */
export function parseListing(text) {
  const functions = new Map();
  const tables = new Map();
  let current, last, lines, fresh, bytes;
  for (const row of text.split('\n')) {
    let match = TABLE.exec(row);
    if (match) tables.set(match[1], (bytes = []));
    else if (row.startsWith('//-----')) bytes = undefined;
    if (bytes && (match = BYTES.exec(row))) {
      const numbers = match[2].split(',').map(Number);
      bytes.push(...(match[1] === 'byte' ? numbers : numbers.flatMap((n) => [n, n >> 8, n >> 16, n >> 24])));
    }
    match = SECTION.exec(row);
    if (match) {
      current = { symbol: match[1], code: [], at: new Map() };
      functions.set(match[1], current);
      lines = [];
      continue;
    }
    if (!current) continue;
    if (row.startsWith('//-----')) {
      current = undefined;
      continue;
    }
    if ((match = INSTRUCTION.exec(row))) {
      const [, address, not, guard, name, operands] = match;
      const [opcode, ...modifiers] = name.split('.');
      last = {
        index: current.code.length,
        address: parseInt(address, 16),
        guard: guard && { ...parseOperand(guard), not: not === '!' },
        name,
        opcode,
        modifiers,
        operands: split(operands).map(parseOperand),
        lines,
      };
      current.at.set(last.address, last.index);
      current.code.push(last);
      fresh = true;
    } else if ((match = UPPER.exec(row))) {
      Object.assign(last, schedule(BigInt(`0x${match[1]}`)));
    } else if ((match = LINE.exec(row))) {
      // The lines of an instruction stand before it, the innermost first; those that follow have the same until told anew.
      if (fresh) lines = [];
      fresh = false;
      lines = [...lines, { file: match[1], line: Number(match[2]) }];
    } else if ((match = LABEL.exec(row))) {
      current.at.set(match[1], current.code.length);
    }
  }
  for (const [symbol, list] of tables) {
    if (functions.has(symbol)) functions.get(symbol).tables = new DataView(Uint8Array.from(list).buffer);
  }
  return functions;
}

/** Where an instruction may go: the label of its last operand, as an index. */
export function targetOf(fn, instruction) {
  const label = instruction.operands.find((operand) => operand.kind === 'label');
  return label && fn.at.get(label.name);
}

/**
 * Loops of a function: { first, last, depth }, indices of the first and the last instruction, outer ones before inner ones. A
 * loop is what a branch backwards encloses; several branches to one place are one loop.
 */
export function loopsOf(fn) {
  const ends = new Map();
  for (const instruction of fn.code) {
    if (instruction.opcode !== 'BRA') continue;
    const first = targetOf(fn, instruction);
    if (first === undefined || first > instruction.index) continue;
    // A branch to itself, the last instruction of every function, is no loop.
    if (first === instruction.index) continue;
    ends.set(first, Math.max(ends.get(first) ?? 0, instruction.index));
  }
  const loops = [...ends].map(([first, last]) => ({ first, last }));
  loops.sort((a, b) => a.first - b.first || b.last - a.last);
  for (const loop of loops) {
    loop.depth = loops.filter((other) => other !== loop && other.first <= loop.first && other.last >= loop.last).length;
  }
  return loops;
}
