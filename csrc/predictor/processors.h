// The number of processors that this process may use.
#ifndef GLUON_RESNET_PROCESSORS_H_
#define GLUON_RESNET_PROCESSORS_H_

namespace gluon_resnet {

// The fewest that its affinity and its control groups allow (`docker run --cpus 2`), at least 1.
int usable_processors();

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PROCESSORS_H_
