/** The label of an object on the GPU: on a device that other code uses too, the prefix tells whose it is. */
export const labelled = (name: string): string => `hrm-webgpu: ${name}`;
