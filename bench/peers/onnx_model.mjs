/** ONNX models from a list of nodes, in the protocol buffers of onnx.proto. */

const varint = (value) => {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest ? low | 128 : low);
  } while (rest);
  return bytes;
};
const integer = (field, value) => [...varint(field * 8), ...varint(value)];
const bytes = (field, content) => [...varint(field * 8 + 2), ...varint(content.length), ...content];
const text = (field, value) => bytes(field, new TextEncoder().encode(value));
const float = (field, value) => [...varint(field * 8 + 5), ...new Uint8Array(Float32Array.of(value).buffer)];

/** onnx.TensorProto.DataType */
const TYPES = { float32: 1, int64: 7 };
/** Fields and types of onnx.AttributeProto: a float for a number in `{ float }`, an integer, or integers. */
function attribute(name, value) {
  if (Array.isArray(value))
    return [...text(1, name), ...value.flatMap((v) => integer(8, v)), ...integer(20, 7)];
  if (typeof value === "object") return [...text(1, name), ...float(2, value.float), ...integer(20, 1)];
  return [...text(1, name), ...integer(3, value), ...integer(20, 2)];
}

const shaped = (name, dims) => {
  const dimensions = dims.flatMap((n) => bytes(1, integer(1, n)));
  return [...text(1, name), ...bytes(2, bytes(1, [...integer(1, TYPES.float32), ...bytes(2, dimensions)]))];
};

/** Constants: a Float32Array of shape [] or [n], or a BigInt64Array of shape [n]. */
const constant = (name, data) => [
  ...(data.length > 1 || data instanceof BigInt64Array ? integer(1, data.length) : []),
  ...integer(2, data instanceof BigInt64Array ? TYPES.int64 : TYPES.float32),
  ...text(8, name),
  ...bytes(9, new Uint8Array(data.buffer)),
];

/**
 * @param inputs shapes by name, all f32
 * @param output the name of the one output and its shape
 * @param nodes `{ op, in: names, out: name, domain?, attributes? }` in the order of computation
 * @param constants typed arrays by name
 * @returns the bytes of an onnx.ModelProto
 */
export function onnxModel({ inputs, output, nodes, constants = {} }) {
  const graph = [
    ...nodes.flatMap(({ op, in: names, out, domain, attributes = {} }) =>
      bytes(1, [
        ...names.flatMap((name) => text(1, name)),
        ...text(2, out),
        ...text(4, op),
        ...Object.entries(attributes).flatMap(([name, value]) => bytes(5, attribute(name, value))),
        ...(domain ? text(7, domain) : []),
      ]),
    ),
    ...text(2, "graph"),
    ...Object.entries(constants).flatMap(([name, data]) => bytes(5, constant(name, data))),
    ...Object.entries(inputs).flatMap(([name, dims]) => bytes(11, shaped(name, dims))),
    ...bytes(12, shaped(output.name, output.dims)),
  ];
  return Uint8Array.from([
    ...integer(1, 8),
    ...bytes(7, graph),
    ...bytes(8, integer(2, 18)),
    ...bytes(8, [...text(1, "com.microsoft"), ...integer(2, 1)]),
  ]);
}
