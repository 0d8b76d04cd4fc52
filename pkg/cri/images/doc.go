// Package images imports image archives into containerd: those of the images folder, at start and when they appear, and
// those that the executable carries.
//
// An archive is a tar file, plain or compressed with gzip or zstd, with an OCI layout or what `docker save` writes; it may
// hold several images. Their layers are unpacked before a name is given to them, so that a name never stands for half
// an image, and the kubelet knows them when an import is done. Pinned images are spared by the kubelet's image
// garbage collection.
//
// Invariants: archives are streamed, never held in memory; one is imported at a time; a file that somebody has open for
// writing is left alone; a bad archive is reported once and never keeps a node from being ready; what is in containerd
// is not imported again. Removing an archive removes no image.
//
// pkg/agent imports the package.
package images
