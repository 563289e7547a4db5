// Writes an ONNX model of a single node: the few fields of its protobuf that this takes.

type Bytes = readonly number[];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

function integer(field: number, value: number): number[] {
  return [...varint(field << 3), ...varint(value)];
}

function block(field: number, content: Bytes | string): number[] {
  const bytes = typeof content === 'string' ? [...Buffer.from(content)] : content;
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...bytes];
}

export interface Value {
  name: string;
  shape: readonly number[];
}

const FLOAT = 1;

/** ValueInfoProto of a float tensor. */
function valueInfo({ name, shape }: Value): number[] {
  const dims = shape.flatMap((d) => block(1, integer(1, d)));
  return [...block(1, name), ...block(2, block(1, [...integer(1, FLOAT), ...block(2, dims)]))];
}

function attribute(name: string, value: number | string): number[] {
  const [kind, content] = typeof value === 'number' ? [2, integer(3, value)] : [3, block(4, value)];
  return [...block(1, name), ...content, ...integer(20, kind)];
}

export interface Node {
  type: string;
  domain?: string;
  attributes: Readonly<Record<string, number | string>>;
  /** null leaves an optional input out. */
  inputs: readonly (Value | null)[];
  outputs: readonly Value[];
}

/** The bytes of a model that is this node. */
export function singleNodeModel({ type, domain = '', attributes, inputs, outputs }: Node): Uint8Array {
  const node = [
    ...inputs.flatMap((value) => block(1, value?.name ?? '')),
    ...outputs.flatMap(({ name }) => block(2, name)),
    ...block(4, type),
    ...Object.entries(attributes).flatMap(([name, value]) => block(5, attribute(name, value))),
    ...block(7, domain),
  ];
  const given = inputs.filter((value) => value !== null);
  const graph = [
    ...block(1, node),
    ...block(2, type),
    ...given.flatMap((value) => block(11, valueInfo(value))),
    ...outputs.flatMap((value) => block(12, valueInfo(value))),
  ];
  const opset = (name: string, version: number): number[] => block(8, [...block(1, name), ...integer(2, version)]);
  return Uint8Array.from([...integer(1, 8), ...block(7, graph), ...opset('', 17), ...opset('com.microsoft', 1)]);
}
