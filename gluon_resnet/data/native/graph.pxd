# The graphs of exported networks: csrc/graph.
from libc.stdint cimport int64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from gluon_resnet.data._native cimport raise_error


cdef extern from "graph/checked_graph.h" namespace "gluon_resnet" nogil:
    cdef cppclass CGraph "gluon_resnet::Graph":
        pass

    CGraph checked_graph(const string& json) except +raise_error
    string to_json(const CGraph& graph) except +raise_error
    void check_results_of "gluon_resnet::check_results"(
        const CGraph& graph, const vector[vector[int64_t]]& shapes, size_t values) except +raise_error
    string mxnet_cause_of "gluon_resnet::mxnet_cause"(const string& message) except +raise_error


cdef extern from "graph/operator_table.h" namespace "gluon_resnet" nogil:
    vector[string] operator_names() except +raise_error
