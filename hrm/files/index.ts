/** File formats, read and written without Node or DOM. */
export { FileFormatError, type FileFormatPlace } from "./file_format_error.js";
export {
  readSafetensors,
  widenToF32,
  writeSafetensors,
  type Safetensors,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "./tensors/safetensors.js";
export { isTorch, readTorch } from "./tensors/torch.js";
export { writeTorch } from "./tensors/torch_writer.js";
