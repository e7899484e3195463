package app.edgeopt.@@IDENT@@

import android.content.Context
import android.graphics.Bitmap
import java.io.File
import org.json.JSONObject

/** The bundle, in native code: the same preprocessing and decoding as on every other platform. Answers are JSON. */
class Model(context: Context) : AutoCloseable {
    private val folder = unpacked(context)
    private val handle = open(File(folder, "bundle").path, File(folder, "unicode.txt").path)

    fun text(vararg texts: String): JSONObject = JSONObject(predictText(handle, arrayOf(*texts)))

    fun image(bitmap: Bitmap): JSONObject {
        val colours = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(colours, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return JSONObject(predictPixels(handle, colours, bitmap.width, bitmap.height))
    }

    fun wav(bytes: ByteArray): JSONObject = JSONObject(predictWav(handle, bytes))

    /** Put the golden raw inputs through the app, and return what was found. */
    fun golden(): String = checkGolden(handle, File(folder, "bundle").path)

    override fun close() = close(handle)

    private external fun open(folder: String, table: String): Long
    private external fun close(handle: Long)
    private external fun predictText(handle: Long, texts: Array<String>): String
    private external fun predictPixels(handle: Long, colours: IntArray, width: Int, height: Int): String
    private external fun predictWav(handle: Long, bytes: ByteArray): String
    private external fun checkGolden(handle: Long, folder: String): String

    companion object {
        private const val VERSION = "@@HASH@@"

        init {
            System.loadLibrary("onnxruntime")
            System.loadLibrary("model")
        }

        /** Copy the bundle out of the APK, once for each version of it. */
        private fun unpacked(context: Context): File {
            val place = File(context.noBackupFilesDir, VERSION)
            if (File(place, "whole").exists()) return place
            context.noBackupFilesDir.listFiles()?.forEach { it.deleteRecursively() }
            fun copy(name: String) {
                val inside = context.assets.list(name).orEmpty()
                if (inside.isNotEmpty()) return inside.forEach { copy("$name/$it") }
                val target = File(place, name).apply { parentFile?.mkdirs() }
                context.assets.open(name).use { from -> target.outputStream().use { from.copyTo(it) } }
            }
            copy("bundle")
            if ("unicode.txt" in context.assets.list("").orEmpty()) copy("unicode.txt")
            File(place, "whole").createNewFile()
            return place
        }
    }
}
