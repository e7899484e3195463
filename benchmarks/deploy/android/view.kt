package android.view

open class View {
    var visibility: Int = TODO()
    fun setOnClickListener(listener: (View) -> Unit): Unit = TODO()

    companion object {
        const val VISIBLE = 0
        const val GONE = 8
    }
}
