#include "predictor/mxnet_api.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "graph/checked_graph.h"
#include "predictor/model_error.h"
#include "predictor/predictor.h"
#include "predictor/processors.h"

namespace gluon_resnet {
namespace {

struct Sharing {
  std::mutex mutex;
  bool loaded = false;
  int predictors = 1;
  int threads_each = 0;  // 0: all processors
};

Sharing& sharing() {
  static Sharing sharing;
  return sharing;
}

// A value that is not a number would end the process in MXNet, and too many threads in OpenMP.
void require_threads(const char* name, const char* value) {
  const size_t digits = std::strspn(value, "0123456789");
  if (digits < 1 || digits > 4 || value[digits] != '\0' || value[0] == '0') {
    throw Error(ErrorKind::kUsage, concat(name, " must be a number of threads, not '", value, "'"));
  }
}

void set_environment() {
  Sharing& shared = sharing();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.loaded = true;
  if (const char* const threads = std::getenv("GLUON_RESNET_OMP_THREADS")) {
    ::setenv("OMP_NUM_THREADS", threads, 1);
  }
  // If unset, MXNet takes half of the machine.
  const int threads = shared.threads_each > 0 ? shared.threads_each : usable_processors();
  ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 0);
  // The engine's threads; by default there is one, for which all predictors wait.
  ::setenv("MXNET_CPU_WORKER_NTHREADS", std::to_string(shared.predictors).c_str(), 0);
  for (const char* const name : {"OMP_NUM_THREADS", "MXNET_CPU_WORKER_NTHREADS"}) {
    require_threads(name, std::getenv(name));
  }
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);  // next to other work, spinning threads cost up to 100x
  }
  ::setenv("MXNET_SUBGRAPH_VERBOSE", "0", 0);  // otherwise it reports the fusion of each predictor
}

MxnetApi load() {
  set_environment();
  const char* const chosen = std::getenv("GLUON_RESNET_MXNET_LIBRARY");
  const char* const path = chosen != nullptr ? chosen : MXNET_LIBRARY;
  void* const library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const bool there = ::access(path, F_OK) == 0;
    throw Error(ErrorKind::kSystem,
                concat("MXNet cannot be loaded: ", ::dlerror(),
                       there ? " (Debian and Ubuntu: apt-get install libgomp1 libquadmath0)"
                             : " (set GLUON_RESNET_MXNET_LIBRARY to its path)"));
  }
  const auto find = [&](auto* function, const char* name) {
    *function = reinterpret_cast<std::decay_t<decltype(*function)>>(::dlsym(library, name));
    if (*function == nullptr) {
      throw Error(ErrorKind::kSystem, concat("this MXNet has no function ", name));
    }
  };
  MxnetApi api;
  find(&api.MXGetLastError, "MXGetLastError");
  find(&api.MXNDArrayWaitAll, "MXNDArrayWaitAll");
  find(&api.MXPredCreate, "MXPredCreate");
  find(&api.MXPredForward, "MXPredForward");
  find(&api.MXPredFree, "MXPredFree");
  find(&api.MXPredGetOutput, "MXPredGetOutput");
  find(&api.MXPredReshape, "MXPredReshape");
  find(&api.MXPredSetInput, "MXPredSetInput");
  find(&api.MXSymbolCreateFromJSON, "MXSymbolCreateFromJSON");
  find(&api.MXSymbolFree, "MXSymbolFree");
  find(&api.MXSymbolGetInternals, "MXSymbolGetInternals");
  find(&api.MXSymbolInferShapePartialEx64, "MXSymbolInferShapePartialEx64");
  find(&api.MXSymbolInferTypePartial, "MXSymbolInferTypePartial");
  find(&api.MXSymbolListArguments, "MXSymbolListArguments");
  find(&api.MXSymbolListAuxiliaryStates, "MXSymbolListAuxiliaryStates");
  // Registers the older operators, such as Pad, through which no shape could be inferred before.
  decltype(&::MXListAllOpNames) list_all_op_names;
  find(&list_all_op_names, "MXListAllOpNames");
  uint32_t size = 0;
  const char** names = nullptr;
  list_all_op_names(&size, &names);
  return api;
}

}  // namespace

void MxnetApi::check(int status, const std::string& path) const {
  if (status != 0) fail_model(path, says());
}

std::string MxnetApi::says() const { return "MXNet says: " + mxnet_cause(MXGetLastError()); }

void share_processors(int predictors, int threads_each) {
  if (predictors < 1 || threads_each < 1) {
    throw Error(ErrorKind::kUsage, concat("processors cannot be shared among ", predictors,
                                          " predictors with ", threads_each, " threads each"));
  }
  Sharing& shared = sharing();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  if (shared.loaded) {
    throw Error(ErrorKind::kUsage, "share_processors() must be called before MXNet is loaded");
  }
  shared.predictors = predictors;
  shared.threads_each = threads_each;
}

const MxnetApi& mxnet_api() {
  static const MxnetApi api = load();
  return api;
}

}  // namespace gluon_resnet
