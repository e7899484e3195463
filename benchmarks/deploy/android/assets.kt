package android.content.res

import java.io.File
import java.io.InputStream

class AssetManager(private val folder: File) {
    fun list(name: String): Array<String>? = (if (name.isEmpty()) folder else File(folder, name)).list()
    fun open(name: String): InputStream = File(folder, name).inputStream()
}
