// Reads a listing of nvdisasm (-hex, with -gi for source lines): functions, instructions, labels.
//
// The upper word of an instruction's encoding also says how it is scheduled, from bit 41 on: cycles until the next one may
// follow (4 bits), a hint (1), the scoreboard that it sets when its result is there (3; 7: none) and the one when its
// operands have been read (3), and which of the six it waits for before it begins (6).
import { parseOperand } from './operands.mjs';

const CODE = '.text.';
const TABLE = '.nv.constant2.';
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

/** The sections of a listing by name: each begins with a line of dashes around it. */
export function sectionsOf(text) {
  const parts = text.split(/^\/\/-{5,} (\S+) +-{5,}$/m);
  const sections = new Map();
  for (let i = 1; i < parts.length; i += 2) sections.set(parts[i], parts[i + 1]);
  return sections;
}

/** The symbols of functions among sections. */
export const symbolsOf = (sections) =>
  [...sections.keys()].filter((name) => name.startsWith(CODE)).map((name) => name.slice(CODE.length));

/** The bytes of a section: where jumps through a table lead. */
function tableOf(text) {
  const bytes = [];
  for (const row of text.split('\n')) {
    const match = BYTES.exec(row);
    if (!match) continue;
    const numbers = match[2].split(',').map(Number);
    bytes.push(...(match[1] === 'byte' ? numbers : numbers.flatMap((n) => [n, n >> 8, n >> 16, n >> 24])));
  }
  return new DataView(Uint8Array.from(bytes).buffer);
}

/**
 * A function: { symbol, code, at, tables }, code in the order of addresses, each instruction with its index, and `at` from an
 * address or a label to an index.
 */
export function parseFunction(sections, symbol) {
  const code = [];
  const at = new Map();
  let match, fresh;
  let lines = [];
  for (const row of sections.get(`${CODE}${symbol}`).split('\n')) {
    if ((match = INSTRUCTION.exec(row))) {
      const [, address, not, guard, name, operands] = match;
      const [opcode, ...modifiers] = name.split('.');
      at.set(parseInt(address, 16), code.length);
      code.push({
        index: code.length,
        address: parseInt(address, 16),
        guard: guard && { ...parseOperand(guard), not: not === '!' },
        name,
        opcode,
        modifiers,
        operands: split(operands).map(parseOperand),
        lines,
      });
      fresh = true;
    } else if ((match = UPPER.exec(row))) {
      Object.assign(code.at(-1), schedule(BigInt(`0x${match[1]}`)));
    } else if ((match = LINE.exec(row))) {
      // The lines of an instruction stand before it, the innermost first; those that follow have the same until told anew.
      if (fresh) lines = [];
      fresh = false;
      lines = [...lines, { file: match[1], line: Number(match[2]) }];
    } else if ((match = LABEL.exec(row))) at.set(match[1], code.length);
  }
  const table = sections.get(`${TABLE}${symbol}`);
  return { symbol, code, at, tables: table && tableOf(table) };
}

/** All functions of a listing by symbol. */
export function parseListing(text) {
  const sections = sectionsOf(text);
  return new Map(symbolsOf(sections).map((symbol) => [symbol, parseFunction(sections, symbol)]));
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
