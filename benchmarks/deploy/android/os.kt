package android.os

class Bundle

object Build { object VERSION { val SDK_INT: Int = 35 } }
